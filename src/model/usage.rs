//! What a session used: counted by the workload, summed by the library.

use serde::{Deserialize, Serialize};

/// An amount of usage: of one call, or summed over a session.
///
/// Sums stay at the largest number rather than overflow.
///
/// ```
/// use sessionkeeper::Usage;
/// let call = Usage::tokens(812, 240).with_tool_calls(1).with_cost(31);
/// assert_eq!(call.output_tokens(), 240);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    input_tokens: u64,
    output_tokens: u64,
    tool_calls: u64,
    iterations: u64,
    cost: u64,
}

impl Usage {
    /// Tokens read and written.
    pub const fn tokens(input: u64, output: u64) -> Self {
        Self { input_tokens: input, output_tokens: output, tool_calls: 0, iterations: 0, cost: 0 }
    }

    /// Sets the number of tool calls.
    #[must_use]
    pub const fn with_tool_calls(mut self, count: u64) -> Self {
        self.tool_calls = count;
        self
    }

    /// Sets the number of iterations.
    #[must_use]
    pub const fn with_iterations(mut self, count: u64) -> Self {
        self.iterations = count;
        self
    }

    /// Sets the cost, in the caller's own smallest unit (such as micro-dollars).
    #[must_use]
    pub const fn with_cost(mut self, cost: u64) -> Self {
        self.cost = cost;
        self
    }

    /// Tokens read.
    pub const fn input_tokens(&self) -> u64 {
        self.input_tokens
    }

    /// Tokens written.
    pub const fn output_tokens(&self) -> u64 {
        self.output_tokens
    }

    /// Calls of tools.
    pub const fn tool_calls(&self) -> u64 {
        self.tool_calls
    }

    /// Rounds of the loop.
    pub const fn iterations(&self) -> u64 {
        self.iterations
    }

    /// Cost in the caller's own unit.
    pub const fn cost(&self) -> u64 {
        self.cost
    }

    /// The sum of both.
    #[must_use]
    pub const fn plus(&self, other: &Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            tool_calls: self.tool_calls.saturating_add(other.tool_calls),
            iterations: self.iterations.saturating_add(other.iterations),
            cost: self.cost.saturating_add(other.cost),
        }
    }
}
