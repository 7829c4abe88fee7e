"""Commands that make surrogates, from labelled frames to compiled archives."""
