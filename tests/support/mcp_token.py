"""What the suite's MCP server takes for its credentials. Apart from the server, whose SDK is long to import."""

TOKEN = "s3cret-t0ken"
