"""Fetching the official files of data sets, and unpacking their archives with care."""
