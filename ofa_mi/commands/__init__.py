"""Commands of `ofa-mi`, one module each; `ofa_mi.cli` imports only the one that is called."""
