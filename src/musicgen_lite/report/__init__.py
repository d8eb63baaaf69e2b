"""What people look at: pictures, the listening page, and the summary in the terminal."""
