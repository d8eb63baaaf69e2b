"""What several commands share: error messages, tracking options, DVC's cache and remotes."""
