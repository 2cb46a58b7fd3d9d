"""Lifting without networks: baselines for trained methods.

`oracle` triangulates the true 2D of all views, `ground_ray` takes depth from the floor and poses from a bank, and
`optimization` fits a kinematic chain. Their inputs are undistorted pixels, confidences, the rig with the observed view
first, frame rate and skeleton. They return joints (L, J, 3), meters, world of the rig. The module `pipeline` gives them
the interface of trained models, and `method` registers them.
"""

METHODS = ("ground_ray", "optimization", "optimization_level", "oracle")  # names, in `method.METHODS`
EARLIER_NAMES = {"optimisation": "optimization", "optimisation_level": "optimization_level"}
