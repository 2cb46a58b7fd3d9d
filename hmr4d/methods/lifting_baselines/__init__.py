"""Lifting without networks: baselines for trained methods.

`oracle` triangulates true 2D of all views, `ground_ray` reads depth off the floor and poses off a bank, `optimisation`
fits a kinematic chain. All take undistorted pixels, confidences, the rig with the observed view first, the frame rate
and the skeleton, and return joints (L, J, 3) in metres in the world of the rig. `table.BASELINES` lists them,
`pipeline.BaselinePipeline` runs one of them as models are run.
"""
