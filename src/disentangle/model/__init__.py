"""The door to PECOS: trees, training, saved models, prediction."""
