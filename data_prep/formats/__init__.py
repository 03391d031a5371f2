"""File formats that several sources share, and reading them."""
