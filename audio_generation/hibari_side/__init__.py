"""hibari (Apache-2.0): a fast neural voice; changes of pitch, vocal tract and breath make many people of it."""
