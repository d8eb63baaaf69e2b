"""Reading and writing: audio, clips, arrays, and files that are whole or absent."""
