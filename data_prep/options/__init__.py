"""Wrong options that do not give the right one away: words, answers and regions."""
