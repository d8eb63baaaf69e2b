"""Files of the shipped models: `pretrained.shipped` finds them and checks that they are whole."""
