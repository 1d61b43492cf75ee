"""`symprop bench`: training steps of symprop and of other systems, timed in turns on this machine.

    workloads   five networks, the operations of each by hand, the bars they should reach
    reference   the same step as textbook equations in float64: what everyone has to agree with
    systems     who is timed: machine code, and its peers, which are looked for at run time
    bars        what was asked of the machine code
    own, torch_peer, jax_peer, pytensor_peer
                a system each: how it is built, how it makes n steps
    peak        the multiply-adds that one core can do, measured beside them
    timing      turns, medians and minima; memory
    child       one process, on one core: the first step of one system, or the turns of all
    run         the children, one after another; what they found becomes a `Report`
    record      the figures as data and as JSON; `report` as tables, `plot` as a picture
    command     `symprop bench`, apart from the terminal

In: names of workloads and of peers, a number of rounds. Out: a `Report`.
Guarantees: importing this package imports no peer; nothing is fetched from a network; a system that
is missing or fails is named with its reason, never left out in silence.
"""
