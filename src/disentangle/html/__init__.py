"""Pages for a browser: one file each, which asks no other for anything."""
