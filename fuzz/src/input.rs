//! An input, taken apart piece by piece. Behind its end stand zeros, so that every input is a whole plan.

pub struct Input<'a> {
    left: &'a [u8],
}

impl<'a> Input<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self { left: data }
    }

    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    /// At most `most` bytes; the first byte says how many.
    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let count = usize::from(self.byte()) % (most + 1);
        self.take(count)
    }

    /// Small as a rule; now and then one of all 64 bits.
    pub fn number(&mut self) -> u64 {
        match self.byte() {
            0xff => self.take(8).iter().fold(0, |number, byte| number << 8 | u64::from(*byte)),
            0xfe => u64::MAX - u64::from(self.byte()),
            0xfd => u64::from(self.byte()) << 16,
            small => u64::from(small),
        }
    }

    /// Rarely true, and never behind the end.
    pub fn rarely(&mut self) -> bool {
        self.byte() >= 0xf0
    }

    pub fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.byte()) % all.len()]
    }

    pub fn rest(&mut self) -> &'a [u8] {
        self.take(self.left.len())
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, left) = self.left.split_at(count.min(self.left.len()));
        self.left = left;
        taken
    }
}
