"""Texts to dense features by a pretrained encoder, frozen or fine-tuned; needs torch and transformers."""
