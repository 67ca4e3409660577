"""The paper's idea: which clusters a label belongs to, its copies, and back."""
