"""The commands. Each module has one group of them; `main` mounts them and prints errors in their three parts."""
