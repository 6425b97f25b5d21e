"""The endpoints of operators, `/v1/admin`."""
