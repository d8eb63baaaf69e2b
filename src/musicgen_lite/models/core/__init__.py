"""What every model is made of: attention, conditions, configuration and the loss."""
