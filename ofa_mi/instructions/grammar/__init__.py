"""Instructions for training beyond the protocol's five: a grammar that writes them, and the gate that lets them in.

``sentences`` puts the phrases of a task (``phrases``) into the patterns of all tasks; ``gate`` refuses what the linter
would, and near-duplicates; ``augment`` draws until every task has enough; ``files`` writes and reads them.
"""
