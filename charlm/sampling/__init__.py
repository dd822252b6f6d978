"""Drawing text: engines that step a network, processors of logits, and the loop over both."""
