"""Lifting without networks: baselines for trained methods.

`oracle` triangulates true 2D of all views, `ground_ray` reads depth off the floor and poses off a bank, `optimisation`
fits a kinematic chain. All take undistorted pixels, confidences, the rig with the observed view first, the frame rate
and the skeleton, and return joints (L, J, 3) in metres in the world of the rig. `pipeline` makes pipelines of them,
`method` methods.
"""

METHODS = ("ground_ray", "optimisation", "optimisation_level", "oracle")  # names, in `method.METHODS`
