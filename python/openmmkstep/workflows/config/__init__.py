"""What the YAML files of the command line may say; :mod:`kstep_models.configuration` reads and checks them."""
