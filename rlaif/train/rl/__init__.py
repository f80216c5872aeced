"""Learning from sampled answers: PPO, GRPO, RLOO and online DPO. Prompts flow to a sampler, its rollouts to rewards,
both to a learner, whose new weights flow back to the sampler."""
