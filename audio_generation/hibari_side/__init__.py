"""hibari (Apache-2.0): a fast neural voice; changes of pitch, vocal tract and breath turn it into many speakers."""
