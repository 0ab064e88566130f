"""What a deployment needs besides the Lambdas, made from what the emulated cloud is made from; above all layers."""
