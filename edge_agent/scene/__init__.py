"""What a simulated camera sees: a moving, textured scene, a pure function of seed and time.

    scene = Scene(width=640, height=480, seed=3)
    picture = scene.blank()              # uint8, (height * 3 // 2, width), planar I420
    scene.render(picture, instant_ns)    # in place, nothing allocated that grows
    optical_clock.draw(picture[:480], instants_ns)

Equal seed, size and instant give equal bytes, on every machine.
"""

from edge_agent.scene._scene import Scene

__all__ = ["Scene"]
