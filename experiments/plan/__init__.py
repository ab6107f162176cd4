"""`unseen plan`: what a run would send, keep and take here, before it is started."""
