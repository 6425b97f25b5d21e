"""The tasks of a worker process beside its activities: detection and takeover of dead workers, cancellations, outages
of Temporal, ended runs, and the providers' lists of models.

They are here, and not in `open_responses/io`, because they act for one worker: the takeover completes activities, and
the detector postpones a takeover that Temporal cannot take at the moment.
"""
