"""What is used from Python: a classifier as scikit-learn knows them, and bundles that predict."""
