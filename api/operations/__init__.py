"""What operators and tenants see of the running system: lists of responses, timelines, pending approvals, health."""
