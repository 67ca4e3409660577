"""Bundles behind Annif's REST API: what is asked, what is answered, and the server."""
