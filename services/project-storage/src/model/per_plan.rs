//! A setting with a value for each plan.

use chassis::config::Setting;
use proto::auth::Plan;

const PLANS: [Plan; 4] = [Plan::Free, Plan::Pro, Plan::Team, Plan::Enterprise];

/// One value for each plan. As text, it is one value for all plans (`1000`), or the names of all plans with their values
/// (`free=10,pro=100,team=1000,enterprise=1000`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerPlan<T>([T; 4]);

impl<T: Copy> PerPlan<T> {
    /// The value of a plan.
    pub fn of(&self, plan: Plan) -> T {
        let [free, pro, team, enterprise] = self.0;
        match plan {
            Plan::Unspecified | Plan::Free => free,
            Plan::Pro => pro,
            Plan::Team => team,
            Plan::Enterprise => enterprise,
        }
    }

    /// The same rule with other values.
    pub fn map<U>(self, value: impl Fn(T) -> U) -> PerPlan<U> {
        PerPlan(self.0.map(value))
    }
}

impl<T: Setting + Copy> Setting for PerPlan<T> {
    fn parse(text: &str) -> Result<Self, String> {
        if !text.contains('=') {
            return T::parse(text).map(|value| Self([value; 4]));
        }
        let mut values = [None; 4];
        for entry in text.split(',') {
            let (name, value) = entry.split_once('=').ok_or_else(rule)?;
            let place = PLANS.iter().position(|plan| plan.name() == name.trim()).ok_or_else(rule)?;
            let value = T::parse(value.trim()).map_err(|must| format!("{must}, for each plan"))?;
            if values[place].replace(value).is_some() {
                return Err(rule());
            }
        }
        let [Some(free), Some(pro), Some(team), Some(enterprise)] = values else { return Err(rule()) };
        Ok(Self([free, pro, team, enterprise]))
    }
}

fn rule() -> String {
    "must be one number, or name each plan once, as in free=1,pro=2,team=3,enterprise=4".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_is_that_of_every_plan() {
        let quota = PerPlan::<u32>::parse("7").expect("a quota");
        assert!(PLANS.iter().all(|plan| quota.of(*plan) == 7));
    }

    #[test]
    fn each_plan_has_its_own_value() {
        let quota = PerPlan::<u32>::parse("pro=2, free=1,enterprise=4,team=3").expect("a quota");
        assert_eq!(PLANS.map(|plan| quota.of(plan)), [1, 2, 3, 4]);
        assert_eq!(quota.of(Plan::Unspecified), 1);
    }

    #[test]
    fn every_plan_is_named_once() {
        for text in [
            "",
            "x",
            "free=1",
            "free=1,pro=2,team=3",
            "free=1,free=1,pro=2,team=3,enterprise=4",
            "free=1,pro=2,team=3,gold=4",
            "free=,pro=2,team=3,enterprise=4",
        ] {
            assert!(PerPlan::<u32>::parse(text).is_err(), "{text}");
        }
    }
}
