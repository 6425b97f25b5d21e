"""What the clients of a campaign ask for. A kind of session is a function; its module has what only it checks."""
