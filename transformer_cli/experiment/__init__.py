"""Implementation of the commands: combine configuration, data, models, training and decoding."""
