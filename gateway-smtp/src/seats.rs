//! How many connections there are, in total and of each client. A crash frees every seat.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The seats taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seats(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_customer: HashMap<IpAddr, usize>,
}

/// A seat; dropping it frees it.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Seats,
    customer: IpAddr,
}

/// Why there is no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// The gateway has all the connections it may have.
    Total,
    /// The client has all that it may have.
    Customer,
}

impl Seats {
    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).total
    }

    /// Takes a seat for a client.
    pub(crate) fn take(
        &self,
        customer: IpAddr,
        total_max: usize,
        customer_max: usize,
    ) -> Result<Seat, Full> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.total >= total_max {
            return Err(Full::Total);
        }
        let own = taken.by_customer.entry(customer).or_default();
        if *own >= customer_max {
            return Err(Full::Customer);
        }
        *own += 1;
        taken.total += 1;
        Ok(Seat { seats: self.clone(), customer })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.total -= 1;
        if let Some(own) = taken.by_customer.get_mut(&self.customer) {
            *own -= 1;
            if *own == 0 {
                taken.by_customer.remove(&self.customer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_counted_and_freed() {
        let seats = Seats::default();
        let (ann, bob): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let first = seats.take(ann, 3, 2).unwrap();
        let _second = seats.take(ann, 3, 2).unwrap();
        assert_eq!(seats.take(ann, 3, 2).unwrap_err(), Full::Customer);
        let _third = seats.take(bob, 3, 2).unwrap();
        assert_eq!(seats.take(bob, 3, 2).unwrap_err(), Full::Total);
        drop(first);
        let _fourth = seats.take(ann, 3, 2).unwrap();
        assert_eq!(seats.0.lock().unwrap().by_customer.len(), 2);
    }
}
