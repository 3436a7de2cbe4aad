"""Relay: management server and agents tell each other what they read, by the delta discovery protocol over mutual TLS.

Nouns: Publisher (one peer's view of what we tell, made of a Subscription per type), Follower (what we hold of what a peer
tells, and what to ask it), Target (what a peer is to hold), Delivery (what came of one batch), Facts (what is told beside
objects and states of proxies), RelayServer and RelayAgent (the two ends of a connection).

Objects go as their essence, not as what was made of them: every process translates by itself. What a peer tells comes in
batches, each of which ends with the resource ``*`` of the last type. A batch counts as a whole or not at all, so nobody
ever translates half of an edit, and labels are applied with the objects that they speak of. ``*`` carries a digest of all
that the peer is to hold: whoever holds anything else asks for everything anew.

Only ``link``, ``agent`` and ``server`` do IO; ``facts`` writes what it is told to the log of objects.
"""
