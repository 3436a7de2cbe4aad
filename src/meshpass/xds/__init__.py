"""Delta ADS: what each Envoy has, what it should have, and the steps between. Only ``cache`` and ``server`` do IO.

Nouns: Subscription (one client's view of one type), AdsStream (all subscriptions of one stream and the plan that it
steps through), SnapshotCache (the target of every node, and how far its streams are), AdsServer (gRPC around them).
"""
