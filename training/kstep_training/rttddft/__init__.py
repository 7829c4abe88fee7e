"""Training of response networks for electron dynamics (:class:`kstep_models.rttddft.network.ResponseNetwork`)."""
