"""Photos that several data sets annotate, each under one path whatever the data set."""
