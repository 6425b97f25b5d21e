"""The web console at `/`: a page without a build step that uses the public API like any other client."""
