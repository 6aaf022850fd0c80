//! Templates, their versions, reviews and reports.

use chassis::clock::timestamp;
use proto::project_storage as pb;

use crate::model::template::{Difficulty, Report, Review, Template, Variable, VersionInfo};

pub(in crate::grpc) fn template(template: &Template) -> pb::Template {
    let details = template.details.clone();
    let difficulty = match details.difficulty {
        Difficulty::Beginner => pb::TemplateDifficulty::Beginner,
        Difficulty::Intermediate => pb::TemplateDifficulty::Intermediate,
        Difficulty::Advanced => pb::TemplateDifficulty::Advanced,
    };
    pb::Template {
        id: template.id.to_string(),
        version: template.version,
        title: details.title,
        description: details.description,
        category: details.category,
        tags: details.tags,
        difficulty: difficulty.into(),
        picture: details.picture,
        recommended_agent: details.recommended_agent,
        publisher_id: template.publisher.to_string(),
        featured: template.featured,
        hidden: template.hidden,
        use_count: u32::try_from(template.uses).unwrap_or(u32::MAX),
        rating_count: u32::try_from(template.ratings).unwrap_or(u32::MAX),
        average_rating_hundredths: average(template.stars, template.ratings),
        create_time: Some(timestamp(template.created_at)),
        update_time: Some(timestamp(template.updated_at)),
    }
}

/// A hundred times the average; 0 without a rating.
fn average(stars: i64, ratings: i64) -> u32 {
    (stars * 100).checked_div(ratings).and_then(|average| u32::try_from(average).ok()).unwrap_or(0)
}

pub(in crate::grpc) fn variable(variable: Variable) -> pb::TemplateVariable {
    let Variable { name, label, description, default: default_value, pattern, required } = variable;
    pb::TemplateVariable { name, label, description, default_value, pattern, required }
}

pub(in crate::grpc) fn template_version(version: VersionInfo) -> pb::TemplateVersion {
    pb::TemplateVersion {
        version: version.number,
        file_count: version.files,
        size_bytes: u64::try_from(version.bytes).unwrap_or(0),
        create_time: Some(timestamp(version.created_at)),
    }
}

pub(in crate::grpc) fn review(review: Review) -> pb::TemplateReview {
    pb::TemplateReview {
        user_id: review.user.to_string(),
        stars: u32::try_from(review.stars).unwrap_or(0),
        text: review.text,
        create_time: Some(timestamp(review.created_at)),
        update_time: Some(timestamp(review.updated_at)),
    }
}

pub(in crate::grpc) fn report(report: Report) -> pb::TemplateReport {
    pb::TemplateReport {
        template_id: report.template.to_string(),
        user_id: report.user.to_string(),
        reason: report.reason,
        update_time: Some(timestamp(report.updated_at)),
    }
}

#[cfg(test)]
mod tests {
    use super::average;

    #[test]
    fn an_average_is_in_hundredths() {
        for (stars, ratings, expected) in [(0, 0, 0), (5, 1, 500), (14, 3, 466)] {
            assert_eq!(average(stars, ratings), expected, "{stars} of {ratings}");
        }
    }
}
