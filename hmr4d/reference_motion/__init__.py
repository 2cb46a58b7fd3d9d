"""Reference motions: what systems that recover people from video write, as a condition for generators."""
