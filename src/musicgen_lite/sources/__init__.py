"""Where captioned clips come from."""
