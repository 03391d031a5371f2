"""A page to try a model on, and the same by JSON: questions, answers, and the server of both.

``questions`` says what can be asked, ``answering`` has the model answer, ``examples`` are what the page begins with,
and ``app`` is the web application.
"""
