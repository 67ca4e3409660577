"""How good predictions are, and how well copies separate meanings."""
