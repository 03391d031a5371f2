"""How the scripts of ``run_scripts/`` run what they define: their values, folders of results and processes.

Bash says what runs and calls ``ofa-mi experiment`` (:mod:`ofa_mi.commands.experiment`) for the rest. Nothing here needs
more than Python's own library, so that a script starts fast and shows its commands before anything is installed.
"""
