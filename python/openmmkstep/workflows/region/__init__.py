"""What a QM region would be, looked at before anything is calculated."""
