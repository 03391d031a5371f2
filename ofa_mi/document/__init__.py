"""One document model for the report and the data card: blocks, written as HTML and as Markdown, with figures as SVG.

Both texts come from the same blocks, so that they can never hold different numbers. Knows nothing of what is shown.
"""
