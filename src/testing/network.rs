//! The servers of the large world, and the ways to them.

use crate::base::random::Random;
use crate::client::event::RouteId;
use crate::proto::connection::Door;
use crate::testing::ledger::Life;
use crate::testing::plan::RoutePlan;
use crate::testing::site::Site;

/// Servers and routes.
#[derive(Debug)]
pub struct Network {
    /// The servers.
    pub sites: Vec<Site>,
    /// The routes.
    pub routes: Vec<RoutePlan>,
    /// Whether every balancer sends an agent to the same server, as long as that one is there.
    pub sticky: bool,
}

impl Network {
    /// The present process of a server.
    pub fn life(&self, site: usize) -> Life {
        (site, self.sites[site].world.life)
    }

    /// The listeners that a route leads to.
    pub fn door(&self, route: RouteId) -> Door {
        match self.routes[usize::from(route.0) % self.routes.len()].raw {
            true => Door::Raw,
            false => Door::Public,
        }
    }

    /// The server that a new connection of `agent` over `route` comes to.
    pub fn pick(&self, route: RouteId, agent: usize, random: &mut Random) -> usize {
        let route = &self.routes[usize::from(route.0) % self.routes.len()];
        let count = route.sites.len();
        let first = match route.sticky || self.sticky {
            true => agent % count,
            false => random.below(count as u64) as usize,
        };
        let mut order = (0..count).map(|offset| route.sites[(first + offset) % count]);
        order.find(|site| self.sites[*site].is_open()).unwrap_or(route.sites[first])
    }
}
